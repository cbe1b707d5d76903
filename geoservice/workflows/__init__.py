"""One story a file: the only place where the pure rooms and I/O meet."""
