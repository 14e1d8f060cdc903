import java.sql.*;
import java.util.Properties;

/**
 * Fetches all rows of a query by Trino's JDBC driver, as objects: {@code Fetch URL ENCODING SQL ROUNDS}, with `-` for no encoding. Prints for each round how many rows there
 * were, the sum of their first column, and how many milliseconds it took.
 */
public final class Fetch {
    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        properties.setProperty("user", "bench");
        if (!arguments[1].equals("-")) {
            properties.setProperty("encoding", arguments[1]);
        }
        try (Connection connection = DriverManager.getConnection(arguments[0], properties); Statement statement = connection.createStatement()) {
            for (int round = 0; round < Integer.parseInt(arguments[3]); round++) {
                long start = System.nanoTime();
                long count = 0;
                long sum = 0;
                try (ResultSet rows = statement.executeQuery(arguments[2])) {
                    int columns = rows.getMetaData().getColumnCount();
                    while (rows.next()) {
                        sum += rows.getLong(1);
                        for (int column = 2; column <= columns; column++) {
                            rows.getObject(column);
                        }
                        count++;
                    }
                }
                System.out.println(count + " " + sum + " " + (System.nanoTime() - start) / 1_000_000);
            }
        }
        // A thread of the driver would keep the process for another minute.
        System.exit(0);
    }
}
