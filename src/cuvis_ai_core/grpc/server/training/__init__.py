"""Training over gRPC: trainruns of clients, the process that trains, what it tells, and how it ends."""
