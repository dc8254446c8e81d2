"""Other libraries that read and write images through this one."""
