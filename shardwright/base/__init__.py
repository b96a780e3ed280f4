"""What all formats share; imports no format."""
