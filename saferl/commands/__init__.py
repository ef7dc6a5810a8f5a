"""The commands of `saferl`, one file each: `add` declares a command's options, and what it does is imported when it runs."""
