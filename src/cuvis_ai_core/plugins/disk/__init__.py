"""Files of any place on disk: whether they are as they were put there, one lock for many processes, and a full disk."""
