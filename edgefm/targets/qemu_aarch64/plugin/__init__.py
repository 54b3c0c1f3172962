"""The source of the plugin that counts instructions, and the script that runs in the emulator meanwhile."""
