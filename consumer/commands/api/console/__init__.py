"""The console: pages for support and for whoever is on call, served beside the health API."""
