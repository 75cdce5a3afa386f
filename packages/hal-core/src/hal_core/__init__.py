"""HAL's foundation. Import the module you need: nothing is imported here, so that a launcher stays small."""
