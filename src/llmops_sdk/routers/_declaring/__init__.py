"""How a router in a file is read: values with their places, problems in words, and nothing that is a key."""
