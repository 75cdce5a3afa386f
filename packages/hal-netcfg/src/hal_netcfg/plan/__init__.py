"""What the product's network ought to be: pure, from facts and configuration."""
