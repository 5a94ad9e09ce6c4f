"""What everything stands on and what knows nothing of networks: errors, files, locks, progress."""
