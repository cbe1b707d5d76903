"""From an uploaded file to checked geofences, or to all that is wrong with it; and what it would change."""
