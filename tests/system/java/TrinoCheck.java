import java.math.BigDecimal;
import java.sql.*;
import java.util.*;

/**
 * Checks of the protocol of Trino's clients through Trino's JDBC driver: {@code TrinoCheck URL} runs all of them and prints "ok NAME" or
 * "FAILED NAME: why" for each. The table {@code jdbc.people} is there, and empty; {@code numbers} has a million rows.
 */
public final class TrinoCheck {
    private interface Check {
        void run(Connection connection) throws Exception;
    }

    private static final Map<String, Check> CHECKS = new LinkedHashMap<>();

    static {
        CHECKS.put("types", TrinoCheck::types);
        CHECKS.put("parameters", TrinoCheck::parameters);
        CHECKS.put("described", TrinoCheck::described);
        CHECKS.put("updates", TrinoCheck::updates);
        CHECKS.put("session", TrinoCheck::session);
        CHECKS.put("metadata", TrinoCheck::metadata);
        CHECKS.put("many_rows", TrinoCheck::manyRows);
        CHECKS.put("cancel", TrinoCheck::cancel);
        CHECKS.put("timeout", TrinoCheck::timeout);
        CHECKS.put("long_statement", TrinoCheck::longStatement);
        CHECKS.put("errors", TrinoCheck::errors);
        CHECKS.put("transactions", TrinoCheck::transactions);
    }

    public static void main(String[] arguments) throws Exception {
        int failed = 0;
        for (Map.Entry<String, Check> check : CHECKS.entrySet()) {
            try (Connection connection = DriverManager.getConnection(arguments[0], "ada", null)) {
                check.getValue().run(connection);
                System.out.println("ok " + check.getKey());
            } catch (Throwable problem) {
                failed++;
                System.out.println("FAILED " + check.getKey() + ": " + String.valueOf(problem).replace('\n', ' '));
                problem.printStackTrace(System.out);
            }
        }
        System.exit(failed == 0 ? 0 : 1);
    }

    private static void types(Connection connection) throws SQLException {
        String sql = "SELECT CAST(NULL AS bigint) AS nothing, CAST(7 AS integer) AS i, REAL '1.5' AS r, 2.5e0 AS d, DECIMAL '12.30' AS dec, 'ø' AS s, X'CAFE' AS b,"
                + " DATE '2024-02-29' AS day, TIMESTAMP '2024-05-01 12:00:00.000001' AS t, TIMESTAMP '2024-05-01 12:00:00.000001 UTC' AS z, ARRAY[1, 2] AS a,"
                + " MAP(ARRAY['k'], ARRAY[1]) AS m, true AS yes";
        try (Statement statement = connection.createStatement(); ResultSet row = statement.executeQuery(sql)) {
            ResultSetMetaData columns = row.getMetaData();
            equal(Types.BIGINT, columns.getColumnType(1));
            equal(Types.INTEGER, columns.getColumnType(2));
            equal("decimal(4,2)", columns.getColumnTypeName(5).replace(" ", ""));
            equal(Types.TIMESTAMP, columns.getColumnType(9));
            equal("timestamp(6) with time zone", columns.getColumnTypeName(10));
            check(row.next(), "no row");
            equal(0L, row.getLong("nothing"));
            check(row.wasNull(), "not null");
            equal(7, row.getInt("i"));
            equal(1.5f, row.getFloat("r"));
            equal(2.5, row.getDouble("d"));
            equal(new BigDecimal("12.30"), row.getBigDecimal("dec"));
            equal("ø", row.getString("s"));
            equal("[-54, -2]", Arrays.toString(row.getBytes("b")));
            equal("2024-02-29", row.getDate("day").toString());
            equal(Timestamp.valueOf("2024-05-01 12:00:00.000001"), row.getTimestamp("t"));
            equal(java.time.Instant.parse("2024-05-01T12:00:00.000001Z"), row.getTimestamp("z").toInstant());
            equal("[1, 2]", Arrays.toString((Object[]) row.getArray("a").getArray()));
            equal("{k=1}", row.getObject("m").toString());
            equal(true, row.getBoolean("yes"));
            check(!row.next(), "more than one row");
        }
    }

    private static void parameters(Connection connection) throws SQLException {
        String sql = "SELECT ? AS l, ? AS i, ? AS d, ? AS s, ? AS day, ? AS yes, ? AS dec, CAST(? AS timestamp(6)) AS t WHERE 1 = ?";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int run = 0; run < 2; run++) {
                statement.setLong(1, 1L << 40);
                statement.setInt(2, 7 + run);
                statement.setDouble(3, 2.5);
                statement.setString(4, "it's ø");
                statement.setDate(5, java.sql.Date.valueOf("2024-02-29"));
                statement.setBoolean(6, true);
                statement.setBigDecimal(7, new BigDecimal("12.34"));
                statement.setTimestamp(8, Timestamp.valueOf("2024-02-29 01:02:03.004"));
                statement.setInt(9, 1);
                try (ResultSet row = statement.executeQuery()) {
                    check(row.next(), "no row");
                    equal(1L << 40, row.getLong("l"));
                    equal(7 + run, row.getInt("i"));
                    equal(2.5, row.getDouble("d"));
                    equal("it's ø", row.getString("s"));
                    equal("2024-02-29", row.getDate("day").toString());
                    equal(true, row.getBoolean("yes"));
                    equal(new BigDecimal("12.34"), row.getBigDecimal("dec"));
                    equal(Timestamp.valueOf("2024-02-29 01:02:03.004"), row.getTimestamp("t"));
                }
            }
        }
    }

    private static void described(Connection connection) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement("SELECT id, wage FROM jdbc.people WHERE id = ? AND name = ?")) {
            equal(2, statement.getParameterMetaData().getParameterCount());
            equal(Types.BIGINT, statement.getParameterMetaData().getParameterType(1));
            equal(Types.VARCHAR, statement.getParameterMetaData().getParameterType(2));
            ResultSetMetaData columns = statement.getMetaData();
            equal(List.of("id", "wage"), List.of(columns.getColumnName(1), columns.getColumnName(2)));
            equal(List.of(Types.BIGINT, Types.DECIMAL), List.of(columns.getColumnType(1), columns.getColumnType(2)));
        }
    }

    private static void updates(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            equal(2, statement.executeUpdate("INSERT INTO jdbc.people (id, name) VALUES (1, 'a'), (2, 'b')"));
            check(!statement.execute("CREATE TABLE jdbc.empty (a bigint)"), "CREATE TABLE gave rows");
        }
        try (PreparedStatement statement = connection.prepareStatement("INSERT INTO jdbc.people VALUES (?, ?, ?, ?)")) {
            statement.setLong(1, 3);
            statement.setString(2, "c");
            statement.setDate(3, java.sql.Date.valueOf("1999-12-31"));
            statement.setBigDecimal(4, new BigDecimal("10.50"));
            equal(1, statement.executeUpdate());
        }
        equal(List.of("1", "2", "3"), column(connection.createStatement().executeQuery("SELECT id FROM jdbc.people ORDER BY id"), "id"));
    }

    private static void session(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute("USE jdbc");
            equal("jdbc", connection.getSchema());
            statement.executeQuery("SELECT count(*) FROM people").close();
            statement.execute("SET SESSION execution_mode = 'local'");
            equal(List.of("local"), column(statement.executeQuery("SHOW SESSION LIKE 'execution_mode'"), "Value"));
            statement.execute("RESET SESSION execution_mode");
            equal(List.of("auto"), column(statement.executeQuery("SHOW SESSION LIKE 'execution_mode'"), "Value"));
        }
    }

    private static void metadata(Connection connection) throws SQLException {
        DatabaseMetaData metadata = connection.getMetaData();
        contains("lake", column(metadata.getCatalogs(), "TABLE_CAT"));
        contains("jdbc", column(metadata.getSchemas("lake", null), "TABLE_SCHEM"));
        equal(List.of("TABLE", "VIEW"), column(metadata.getTableTypes(), "TABLE_TYPE"));
        equal(List.of("people"), column(metadata.getTables("lake", "jdbc", "peo%", new String[] {"TABLE"}), "TABLE_NAME"));
        equal(List.of("id", "name", "born", "wage"), column(metadata.getColumns("lake", "jdbc", "people", "%"), "COLUMN_NAME"));
        try (ResultSet columns = metadata.getColumns("lake", "jdbc", "people", "wage")) {
            check(columns.next(), "no row for the column");
            equal(Types.DECIMAL, columns.getInt("DATA_TYPE"));
            equal(9, columns.getInt("COLUMN_SIZE"));
            equal(2, columns.getInt("DECIMAL_DIGITS"));
        }
        contains("bigint", column(metadata.getTypeInfo(), "TYPE_NAME"));
        check(!metadata.getPrimaryKeys("lake", "jdbc", "people").next(), "a key that is none");
        check(!metadata.getDatabaseProductVersion().isEmpty(), "no version");
    }

    private static void manyRows(Connection connection) throws SQLException {
        long rows = 0;
        long sum = 0;
        try (Statement statement = connection.createStatement(); ResultSet result = statement.executeQuery("SELECT n, text FROM \"default\".numbers")) {
            while (result.next()) {
                rows++;
                sum += result.getLong(1);
            }
        }
        equal(1_000_000L, rows);
        equal(499_999_500_000L, sum);
    }

    private static void cancel(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            Timer timer = new Timer(true);
            timer.schedule(new TimerTask() {
                @Override
                public void run() {
                    try {
                        statement.cancel();
                    } catch (SQLException problem) {
                        problem.printStackTrace(System.out);
                    }
                }
            }, 1_500);
            String endless = "SELECT count(*) FROM \"default\".numbers a CROSS JOIN \"default\".numbers b WHERE (a.n * b.n) % 7 = 3";
            long start = System.nanoTime();
            try (ResultSet result = statement.executeQuery(endless)) {
                result.next();
                throw new AssertionError("it was not cancelled");
            } catch (SQLException expected) {
                check(System.nanoTime() - start < 20_000_000_000L, "it took long to be cancelled");
            }
        }
    }

    /// The driver sends it as a session property.
    private static void timeout(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(2);
            try (ResultSet row = statement.executeQuery("SELECT 7")) {
                check(row.next() && row.getInt(1) == 7, "no row");
            }
            statement.executeQuery("SELECT count(*) FROM \"default\".numbers a CROSS JOIN \"default\".numbers b WHERE (a.n * b.n) % 7 = 3").next();
            throw new AssertionError("it took longer than its limit");
        } catch (SQLException error) {
            equal(131_075, error.getErrorCode());
        }
    }

    /// The driver takes headers of 256 KiB at most.
    private static void longStatement(Connection connection) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement("SELECT length('" + "y".repeat(400_000) + "') + ?")) {
            statement.setInt(1, 1);
            try (ResultSet row = statement.executeQuery()) {
                check(row.next() && row.getInt(1) == 400_001, "no row");
            }
        }
    }

    private static void errors(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.executeQuery("SELECT nope FROM jdbc.people");
            throw new AssertionError("no error");
        } catch (SQLException error) {
            equal(47, error.getErrorCode());
            contains("line 1:8", List.of(error.getMessage()));
        }
    }

    /// What reads works in a transaction, what writes is refused in it, and after a rollback both work again.
    private static void transactions(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute("CREATE TABLE jdbc.committed (a bigint)");
            connection.setAutoCommit(false);
            connection.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
            for (int turn = 0; turn < 2; turn++) {
                equal(List.of("0"), column(statement.executeQuery("SELECT count(*) AS n FROM jdbc.committed"), "n"));
                connection.commit();
            }
            try {
                statement.execute("INSERT INTO jdbc.committed VALUES (1)");
                throw new AssertionError("it was written within a transaction");
            } catch (SQLException error) {
                equal(25, error.getErrorCode());
            }
            connection.rollback();
            equal(List.of("0"), column(statement.executeQuery("SELECT count(*) AS n FROM jdbc.committed"), "n"));
            connection.setAutoCommit(true);
            equal(1, statement.executeUpdate("INSERT INTO jdbc.committed VALUES (1)"));
        }
    }

    private static List<String> column(ResultSet rows, String name) throws SQLException {
        List<String> values = new ArrayList<>();
        while (rows.next()) {
            values.add(rows.getString(name));
        }
        rows.close();
        return values;
    }

    private static void contains(String wanted, List<String> found) {
        check(found.stream().anyMatch(value -> value != null && value.contains(wanted)), wanted + " is not in " + found);
    }

    private static void equal(Object wanted, Object found) {
        check(Objects.equals(wanted, found), "wanted " + wanted + ", found " + found);
    }

    private static void check(boolean holds, String message) {
        if (!holds) {
            throw new AssertionError(message);
        }
    }
}
