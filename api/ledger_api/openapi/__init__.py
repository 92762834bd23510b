"""The description of this API: what each responder says about itself (`operation`, `parameters`), put together into one
OpenAPI document (`document`), and served (`endpoint`).
"""
