"""Files that others wrote: opened without waiting, limited in what they unpack to, and damage told in one message."""
