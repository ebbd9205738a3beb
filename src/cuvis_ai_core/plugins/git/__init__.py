"""Git: running it, fetching, checking out, signatures, credentials, and what its failures mean."""
