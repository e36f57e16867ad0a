"""The Python SDK for Jamsocket."""
