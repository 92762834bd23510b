-- Returns the revision the database was migrated to; fails where it never was.
select version_num from ledger.schema_version
