"""From one data set to J local sources and a target."""
