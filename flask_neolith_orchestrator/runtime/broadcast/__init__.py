"""What others are told: browsers, Python listeners, and whoever asks why nothing comes."""
