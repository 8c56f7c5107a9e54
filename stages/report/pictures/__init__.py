"""What the page shows: images, attention maps, charts."""
