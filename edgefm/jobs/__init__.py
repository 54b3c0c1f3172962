"""The main job over run folders: one function a command."""
