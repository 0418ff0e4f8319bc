"""What several rooms of tests share: databases to export, ways to export them, and the command line run in process.

Belongs here: helpers without assertions about the product. Does not belong here: tests, fixtures (`../conftest.py`).
"""
