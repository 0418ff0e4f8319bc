"""From tables to signed records: the order (an external bucket sort), the canonical form, the signatures.

Belongs here: what makes records of rows. Does not belong here: reading the database (`database/`), and files of a
package (`formats/`, `package/`).
"""
