"""What a checkpoint's folder holds, and how its parts are loaded."""
