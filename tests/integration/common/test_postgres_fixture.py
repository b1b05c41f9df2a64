import psycopg
from tests.fixtures.postgres import PostgresServer


def _tables(dsn: str) -> list[str]:
    with psycopg.connect(dsn) as connection:
        return [row[0] for row in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]


async def test_databases_cloned_from_a_template_have_its_tables_and_do_not_share_rows(postgres: PostgresServer) -> None:
    async def build(dsn: str) -> None:
        async with await psycopg.AsyncConnection.connect(dsn) as connection:
            await connection.execute("CREATE TABLE rows (n int)")

    first = await postgres.clone("fixture_rows", build)
    second = await postgres.clone("fixture_rows", build)
    with psycopg.connect(first) as connection:
        connection.execute("INSERT INTO rows VALUES (1)")
    with psycopg.connect(second) as connection:
        assert connection.execute("SELECT count(*) FROM rows").fetchone() == (0,)
    postgres.drop_database(first)
    postgres.drop_database(second)


def test_what_was_committed_is_there_after_the_server_was_killed(own_postgres: PostgresServer) -> None:
    dsn = own_postgres.create_database()
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE kept (n int)")
    own_postgres.kill()
    own_postgres.start()
    assert _tables(dsn) == ["kept"]
