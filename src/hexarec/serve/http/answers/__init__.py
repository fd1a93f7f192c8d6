"""Answers of the API as types, a file per noun as the routes have; /openapi.json is made from them."""
