import java.math.BigDecimal;
import java.sql.*;
import java.util.*;
import java.util.concurrent.*;

/**
 * Checks of the Flight SQL door through the Arrow JDBC driver: {@code FlightSqlCheck URL} runs all of them and prints "ok NAME" or
 * "FAILED NAME: why" for each.
 */
public final class FlightSqlCheck {
    private interface Check {
        void run(Connection connection) throws Exception;
    }

    private static final Map<String, Check> CHECKS = new LinkedHashMap<>();

    static {
        CHECKS.put("metadata", FlightSqlCheck::metadata);
        CHECKS.put("parameters", FlightSqlCheck::parameters);
        CHECKS.put("types", FlightSqlCheck::types);
        CHECKS.put("update_count", FlightSqlCheck::updateCount);
        CHECKS.put("million_rows", FlightSqlCheck::millionRows);
        CHECKS.put("cancel", FlightSqlCheck::cancel);
        CHECKS.put("error_text", FlightSqlCheck::errorText);
        CHECKS.put("session", FlightSqlCheck::session);
    }

    private static String url;

    public static void main(String[] arguments) throws Exception {
        url = arguments[0];
        try (Connection connection = DriverManager.getConnection(url)) {
            prepare(connection);
        }
        int failed = 0;
        for (Map.Entry<String, Check> check : CHECKS.entrySet()) {
            try (Connection connection = DriverManager.getConnection(url)) {
                check.getValue().run(connection);
                System.out.println("ok " + check.getKey());
            } catch (Throwable problem) {
                failed++;
                System.out.println("FAILED " + check.getKey() + ": " + String.valueOf(problem).replace('\n', ' '));
                problem.printStackTrace(System.out);
            }
        }
        // The driver keeps threads that would hold the JVM.
        System.exit(failed == 0 ? 0 : 1);
    }

    private static void prepare(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute("CREATE SCHEMA jdbc");
            statement.execute("CREATE TABLE jdbc.people (id bigint NOT NULL, name varchar, born date, wage decimal(9, 2))");
        }
    }

    private static void metadata(Connection connection) throws SQLException {
        DatabaseMetaData metadata = connection.getMetaData();
        equal("nunatak", metadata.getDatabaseProductName().toLowerCase(Locale.ROOT));
        contains("lake", column(metadata.getCatalogs(), "TABLE_CAT"));
        contains("jdbc", column(metadata.getSchemas("lake", null), "TABLE_SCHEM"));
        contains("TABLE", column(metadata.getTableTypes(), "TABLE_TYPE"));
        equal(List.of("people"), column(metadata.getTables("lake", "jdbc", "%", new String[] {"TABLE"}), "TABLE_NAME"));
        equal(List.of("id", "name", "born", "wage"), column(metadata.getColumns("lake", "jdbc", "people", "%"), "COLUMN_NAME"));
        try (ResultSet columns = metadata.getColumns("lake", "jdbc", "people", "wage")) {
            check(columns.next(), "no row for the column");
            equal(Types.DECIMAL, columns.getInt("DATA_TYPE"));
            equal(9, columns.getInt("COLUMN_SIZE"));
            equal(2, columns.getInt("DECIMAL_DIGITS"));
        }
        try (ResultSet columns = metadata.getColumns("lake", "jdbc", "people", "id")) {
            check(columns.next(), "no row for the column");
            equal(Types.BIGINT, columns.getInt("DATA_TYPE"));
            equal("NO", columns.getString("IS_NULLABLE"));
        }
        check(!metadata.getPrimaryKeys("lake", "jdbc", "people").next(), "a key that is none");
    }

    private static void parameters(Connection connection) throws SQLException {
        String sql = "SELECT CAST(? AS bigint), CAST(? AS integer), CAST(? AS double), CAST(? AS varchar), CAST(? AS date), CAST(? AS boolean),"
                + " CAST(? AS decimal(9, 2)), CAST(? AS timestamp(6))";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            statement.setLong(1, 1L << 40);
            statement.setInt(2, 7);
            statement.setDouble(3, 2.5);
            statement.setString(4, "ø");
            statement.setDate(5, java.sql.Date.valueOf("2024-02-29"));
            statement.setBoolean(6, true);
            statement.setBigDecimal(7, new BigDecimal("12.34"));
            statement.setTimestamp(8, Timestamp.valueOf("2024-02-29 01:02:03.004"));
            try (ResultSet row = statement.executeQuery()) {
                check(row.next(), "no row");
                equal(1L << 40, row.getLong(1));
                equal(7, row.getInt(2));
                equal(2.5, row.getDouble(3));
                equal("ø", row.getString(4));
                equal("2024-02-29", row.getDate(5).toString());
                equal(true, row.getBoolean(6));
                equal(new BigDecimal("12.34"), row.getBigDecimal(7));
                equal(Timestamp.valueOf("2024-02-29 01:02:03.004"), row.getTimestamp(8));
            }
        }
        try (PreparedStatement statement = connection.prepareStatement("SELECT count(*) FROM numbers WHERE n < ? AND text <> ?")) {
            for (long limit : new long[] {10, 20}) {
                statement.setLong(1, limit);
                statement.setString(2, "row 5");
                try (ResultSet row = statement.executeQuery()) {
                    check(row.next(), "no row");
                    equal(limit - 1, row.getLong(1));
                }
            }
        }
    }

    private static void types(Connection connection) throws SQLException {
        String sql = "SELECT CAST(NULL AS bigint) AS nothing, REAL '1.5' AS r, X'CAFE' AS b, TIMESTAMP '2024-05-01 12:00:00.000001' AS t, ARRAY[1, 2] AS a";
        try (Statement statement = connection.createStatement(); ResultSet row = statement.executeQuery(sql)) {
            check(row.next(), "no row");
            equal(0L, row.getLong("nothing"));
            check(row.wasNull(), "not null");
            equal(1.5f, row.getFloat("r"));
            equal("[-54, -2]", Arrays.toString(row.getBytes("b")));
            equal("[1, 2]", Arrays.toString((Object[]) row.getArray("a").getArray()));
            equal(Types.BIGINT, row.getMetaData().getColumnType(1));
            check(!row.next(), "more than one row");
        }
    }

    private static void updateCount(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            equal(2, statement.executeUpdate("INSERT INTO jdbc.people (id, name) VALUES (1, 'a'), (2, 'b')"));
            check(!statement.execute("CREATE TABLE jdbc.empty (a bigint)"), "CREATE TABLE gave rows");
        }
        String sql = "INSERT INTO jdbc.people VALUES (?, ?, ?, ?)";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            statement.setLong(1, 3);
            statement.setString(2, "c");
            statement.setDate(3, java.sql.Date.valueOf("1999-12-31"));
            statement.setBigDecimal(4, new BigDecimal("10.50"));
            equal(1, statement.executeUpdate());
        }
        equal(List.of("1", "2", "3"), column(connection.createStatement().executeQuery("SELECT id FROM jdbc.people ORDER BY id"), "id"));
    }

    private static void millionRows(Connection connection) throws SQLException {
        long rows = 0;
        long sum = 0;
        try (Statement statement = connection.createStatement(); ResultSet result = statement.executeQuery("SELECT n, text FROM numbers")) {
            while (result.next()) {
                rows++;
                sum += result.getLong(1);
                check(result.getString(2).startsWith("row "), "wrong text");
            }
        }
        equal(1_000_000L, rows);
        equal(499_999_500_000L, sum);
    }

    private static void cancel(Connection connection) throws Exception {
        String sql = "SELECT count(*) FROM numbers a CROSS JOIN numbers b WHERE (a.n * b.n) % 7 = 3";
        Statement statement = connection.createStatement();
        long start = System.nanoTime();
        ScheduledExecutorService timer = Executors.newSingleThreadScheduledExecutor();
        timer.schedule(() -> { statement.cancel(); return null; }, 1, TimeUnit.SECONDS);
        try (ResultSet result = statement.executeQuery(sql)) {
            result.next();
            throw new IllegalStateException("the query was not cancelled");
        } catch (SQLException expected) {
            check(System.nanoTime() - start < 5_000_000_000L, "it took too long to cancel");
        }
    }

    private static void errorText(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.executeQuery("SELECT * FROM jdbc.peple");
            throw new IllegalStateException("no error");
        } catch (SQLException error) {
            for (String part : List.of("TABLE_NOT_FOUND", "line 1:15", "peple", "did you mean", "people")) {
                check(error.getMessage().contains(part), "'" + part + "' is missing in: " + error.getMessage());
            }
        }
    }

    private static void session(Connection connection) throws SQLException {
        // Unknown properties of the URL are sent as headers.
        try (Connection other = DriverManager.getConnection(url + "&schema=jdbc&nunatak-session=execution_mode%3Dlocal"); Statement statement = other.createStatement()) {
            column(statement.executeQuery("SELECT id FROM people"), "id");
            equal(List.of("local"), column(statement.executeQuery("SHOW SESSION LIKE 'execution_mode'"), 2));
        }
        try (Connection other = DriverManager.getConnection(url + "&user=ada&password=any"); Statement statement = other.createStatement()) {
            statement.execute("USE jdbc");
            column(statement.executeQuery("SELECT id FROM people"), "id");
        }
    }

    private static List<String> column(ResultSet rows, Object which) throws SQLException {
        List<String> values = new ArrayList<>();
        try (rows) {
            while (rows.next()) {
                values.add(which instanceof Integer index ? rows.getString(index) : rows.getString((String) which));
            }
        }
        return values;
    }

    private static void contains(String value, List<String> values) {
        check(values.contains(value), "no " + value + " in " + values);
    }

    private static void equal(Object expected, Object actual) {
        check(Objects.equals(expected, actual), actual + " instead of " + expected);
    }

    private static void check(boolean holds, String otherwise) {
        if (!holds) {
            throw new IllegalStateException(otherwise);
        }
    }
}
