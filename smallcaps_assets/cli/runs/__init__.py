"""What a command starts and waits for: a plan, a download, the UI, the emulator.

Does not belong here: arguments (``cli.commands``) and pictures of it (``cli.screens``).
"""
