"""Models that are shown an image and told or asked something about it, in the format of their checkpoint's chats."""
