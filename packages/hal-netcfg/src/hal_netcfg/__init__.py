"""HAL's network: every NIC of the server is the product's, and one private link leads from the product to its host."""
