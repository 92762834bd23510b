-- Returns the revision the database was migrated to. Only where there is one: see select_is_migrated.
select version_num from ledger.schema_version
