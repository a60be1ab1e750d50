"""The dashboard, the descriptions of the API, and the page that shows them."""
