"""What `classifier` is made of: the folder, the libraries, and batches over concurrent checks."""
