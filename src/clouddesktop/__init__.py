"""A self-hosted Cloud Desktop image service."""

__version__ = "0.1.0"
