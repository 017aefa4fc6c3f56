"""Figures that others published, each with what it is a figure of; the data are the YAML files of this folder."""

from bench.published.tables import PublishedTable, published_for, published_tables

__all__ = ["PublishedTable", "published_for", "published_tables"]
