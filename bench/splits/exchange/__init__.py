"""Splits between programs: written for others to use, and read from what others wrote."""
