"""What happens to every device, and where it is plugged in: pure."""
