"""What `comat doctor` looks at before a run: the software, the device, the disk, the network, models and data."""
