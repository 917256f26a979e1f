"""A second engine beside a slow one."""
