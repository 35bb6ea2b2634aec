"""A folder's pictures and videos, matched against a database: what `hashmatch scan` does."""
