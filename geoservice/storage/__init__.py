"""PostgreSQL through asyncpg: named SQL, migrations, the embedded server."""
