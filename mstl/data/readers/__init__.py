"""Files to listings: one module a layout on disk, and what they share."""
