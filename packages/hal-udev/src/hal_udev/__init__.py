"""What is plugged into the server is plugged into the product."""
