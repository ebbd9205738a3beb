"""Arrays that client and server of one machine hand over without the network."""
