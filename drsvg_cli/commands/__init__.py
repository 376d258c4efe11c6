"""The work of the commands: files, pictures, tables and progress."""
