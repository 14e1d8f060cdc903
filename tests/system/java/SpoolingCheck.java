import java.math.BigDecimal;
import java.sql.*;
import java.time.Instant;
import java.util.*;

/**
 * Checks of spooled results through Trino's JDBC driver: {@code SpoolingCheck URL} runs all of them, each in an encoding of its own, and prints "ok NAME" or
 * "FAILED NAME: why" for each. The table {@code numbers} has a million rows.
 */
public final class SpoolingCheck {
    private static final Map<String, String> CHECKS = new LinkedHashMap<>();

    static {
        CHECKS.put("plain", "json");
        CHECKS.put("zstd", "json+zstd");
        CHECKS.put("lz4", "json+lz4");
    }

    public static void main(String[] arguments) throws Exception {
        int failed = 0;
        for (Map.Entry<String, String> check : CHECKS.entrySet()) {
            Properties properties = new Properties();
            properties.setProperty("user", "ada");
            properties.setProperty("encoding", check.getValue());
            try (Connection connection = DriverManager.getConnection(arguments[0], properties)) {
                run(connection);
                System.out.println("ok " + check.getKey());
            } catch (Throwable problem) {
                failed++;
                System.out.println("FAILED " + check.getKey() + ": " + String.valueOf(problem).replace('\n', ' '));
                problem.printStackTrace(System.out);
            }
        }
        System.exit(failed == 0 ? 0 : 1);
    }

    private static void run(Connection connection) throws SQLException {
        String values = "DECIMAL '12.30' AS dec, 'ø' AS s, X'CAFE' AS b, TIMESTAMP '2024-05-01 12:00:00.000001 UTC' AS z, ARRAY[1, NULL] AS a, CAST(NULL AS date) AS day";
        try (Statement statement = connection.createStatement();
                ResultSet row = statement.executeQuery("SELECT n, text, " + values + " FROM numbers ORDER BY n LIMIT 50000")) {
            long expected = 0;
            while (row.next()) {
                equal(expected, row.getLong("n"));
                equal("row " + expected, row.getString("text"));
                expected++;
                if (expected % 10000 == 1) {
                    equal(new BigDecimal("12.30"), row.getBigDecimal("dec"));
                    equal("ø", row.getString("s"));
                    equal("[-54, -2]", Arrays.toString(row.getBytes("b")));
                    equal(Instant.parse("2024-05-01T12:00:00.000001Z"), row.getTimestamp("z").toInstant());
                    equal("[1, null]", Arrays.toString((Object[]) row.getArray("a").getArray()));
                    equal(null, row.getDate("day"));
                }
            }
            equal(50000L, expected);
        }
        // Few rows come in the answers, and none in none.
        try (Statement statement = connection.createStatement(); ResultSet row = statement.executeQuery("SELECT n FROM numbers WHERE n < 2")) {
            equal(true, row.next() && row.next());
            equal(false, row.next());
        }
        try (Statement statement = connection.createStatement(); ResultSet row = statement.executeQuery("SELECT n FROM numbers WHERE n < 0")) {
            equal(false, row.next());
        }
    }

    private static void equal(Object expected, Object found) {
        if (!Objects.equals(expected, found)) {
            throw new AssertionError("expected " + expected + ", found " + found);
        }
    }
}
