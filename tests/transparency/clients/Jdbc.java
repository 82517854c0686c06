// pgjdbc in its own dialect of the protocol: unnamed and named statements, fetch sizes, batches, COPY, binary transfer,
// large objects left out (they are function calls). One line per step: name, tab, outcome.
import java.io.*;
import java.sql.*;
import java.util.*;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

public class Jdbc {
    interface Work { Object run() throws Exception; }

    static void step(String name, Work work) {
        Object outcome;
        try {
            outcome = work.run();
        } catch (SQLException error) {
            outcome = error.getSQLState() + " " + error.getMessage();
        } catch (Exception error) {
            outcome = error.toString();
        }
        System.out.println(name + "\t" + String.valueOf(outcome).replace("\n", "\\n"));
    }

    static List<List<String>> rows(ResultSet found) throws SQLException {
        List<List<String>> rows = new ArrayList<>();
        ResultSetMetaData meta = found.getMetaData();
        List<String> head = new ArrayList<>();
        for (int n = 1; n <= meta.getColumnCount(); n++)
            head.add(meta.getColumnName(n) + ":" + meta.getColumnTypeName(n) + ":" + meta.getTableName(n) + ":" + meta.isNullable(n) + ":" + meta.isAutoIncrement(n));
        rows.add(head);
        while (found.next()) {
            List<String> row = new ArrayList<>();
            for (int n = 1; n <= meta.getColumnCount(); n++) row.add(meta.getColumnTypeName(n).equals("bytea") ? Arrays.toString(found.getBytes(n)) : found.getString(n));
            rows.add(row);
        }
        return rows;
    }

    public static void main(String[] given) throws Exception {
        Map<String, String> env = System.getenv();
        String url = "jdbc:postgresql://" + env.get("PGHOST") + ":" + env.get("PGPORT") + "/" + env.get("PGDATABASE");
        for (String mode : new String[] {"extended", "extendedForPrepared", "extendedCacheEverything", "simple"}) {
            Properties properties = new Properties();
            properties.setProperty("user", env.get("PGUSER"));
            properties.setProperty("password", env.get("PGPASSWORD"));
            properties.setProperty("sslmode", "disable");
            properties.setProperty("preferQueryMode", mode);
            properties.setProperty("prepareThreshold", "2");
            try (Connection connection = DriverManager.getConnection(url, properties)) {
                play(mode + ": ", connection);
            }
        }
    }

    static void play(String mode, Connection connection) throws Exception {
        Statement plain = connection.createStatement();
        plain.execute("CREATE TABLE jdbc (id serial PRIMARY KEY, name varchar(40) UNIQUE, price numeric(10,2), at timestamp, raw bytea, tags text[])");
        try {
            step(mode + "prepared, again and again", () -> {
                List<Object> found = new ArrayList<>();
                try (PreparedStatement insert = connection.prepareStatement("INSERT INTO jdbc (name, price, at, raw, tags) VALUES (?, ?, ?, ?, ?)", Statement.RETURN_GENERATED_KEYS)) {
                    for (int n = 0; n < 6; n++) {
                        insert.setString(1, "name " + n);
                        insert.setBigDecimal(2, new java.math.BigDecimal("12.50"));
                        insert.setTimestamp(3, new Timestamp(0));
                        insert.setBytes(4, new byte[] {0, 1, (byte) n});
                        insert.setArray(5, connection.createArrayOf("text", new String[] {"a", "b c"}));
                        insert.executeUpdate();
                        try (ResultSet keys = insert.getGeneratedKeys()) { keys.next(); found.add(keys.getInt(1)); }
                    }
                }
                return found;
            });
            step(mode + "select in binary", () -> {
                List<Object> found = new ArrayList<>();
                try (PreparedStatement select = connection.prepareStatement("SELECT * FROM jdbc WHERE id > ? ORDER BY id")) {
                    for (int n = 0; n < 8; n++) { select.setInt(1, n); found.add(rows(select.executeQuery())); }
                }
                return found;
            });
            step(mode + "batch", () -> {
                try (PreparedStatement insert = connection.prepareStatement("INSERT INTO jdbc (name) VALUES (?)")) {
                    for (int n = 0; n < 500; n++) { insert.setString(1, "batch " + n); insert.addBatch(); }
                    return Arrays.stream(insert.executeBatch()).sum();
                }
            });
            step(mode + "batch that fails", () -> {
                try (PreparedStatement insert = connection.prepareStatement("INSERT INTO jdbc (name) VALUES (?)")) {
                    for (String name : new String[] {"new 1", "name 1", "new 2"}) { insert.setString(1, name); insert.addBatch(); }
                    return Arrays.toString(insert.executeBatch());
                } catch (BatchUpdateException error) {
                    return Arrays.toString(error.getUpdateCounts()) + error.getSQLState();
                }
            });
            step(mode + "statements in one", () -> {
                try (Statement many = connection.createStatement()) {
                    List<Object> found = new ArrayList<>();
                    boolean more = many.execute("SELECT 1 AS a; UPDATE jdbc SET price = 1 WHERE id = 1; SELECT 'x' AS b");
                    for (int n = 0; n < 3; n++) { found.add(more ? rows(many.getResultSet()) : many.getUpdateCount()); more = many.getMoreResults(); }
                    return found;
                }
            });
            step(mode + "error with its place", () -> rows(plain.executeQuery("SELECT * FROM jdbc WHERE nothing = 1")));
            step(mode + "duplicate", () -> plain.executeUpdate("INSERT INTO jdbc (name) VALUES ('name 1')"));
            connection.setAutoCommit(false);
            step(mode + "fetched in portions", () -> {
                try (Statement portions = connection.createStatement()) {
                    portions.setFetchSize(100);
                    long sum = 0;
                    ResultSet found = portions.executeQuery("SELECT g FROM generate_series(1, 1050) g");
                    while (found.next()) sum += found.getLong(1);
                    return sum;
                }
            });
            step(mode + "two portals at once", () -> {
                try (PreparedStatement one = connection.prepareStatement("SELECT g FROM generate_series(1, 30) g"); PreparedStatement two = connection.prepareStatement("SELECT g * 10 FROM generate_series(1, 30) g")) {
                    one.setFetchSize(7);
                    two.setFetchSize(4);
                    ResultSet left = one.executeQuery(), right = two.executeQuery();
                    long sum = 0;
                    while (left.next() && right.next()) sum += left.getLong(1) * right.getLong(1);
                    return sum;
                }
            });
            step(mode + "savepoint", () -> {
                Savepoint here = connection.setSavepoint("here");
                String state = "";
                try { plain.executeQuery("SELECT 1/0"); } catch (SQLException error) { state = error.getSQLState(); }
                connection.rollback(here);
                return state + rows(plain.executeQuery("SELECT 1 AS after"));
            });
            connection.rollback();
            connection.setAutoCommit(true);
            step(mode + "copy", () -> {
                CopyManager copy = connection.unwrap(PGConnection.class).getCopyAPI();
                long in = copy.copyIn("COPY jdbc (name) FROM STDIN", new StringReader("copied 1\ncopied 2\n"));
                StringWriter out = new StringWriter();
                long rows = copy.copyOut("COPY (SELECT name FROM jdbc WHERE name LIKE 'copied%' ORDER BY 1) TO STDOUT", out);
                return in + " " + rows + " " + out;
            });
            step(mode + "cancelled by a timer", () -> {
                try (Statement slow = connection.createStatement()) { slow.setQueryTimeout(1); return rows(slow.executeQuery("SELECT pg_sleep(20)")); }
            });
            step(mode + "metadata", () -> rows(connection.getMetaData().getColumns(null, "public", "jdbc", "%")).size());
            step(mode + "keys", () -> rows(connection.getMetaData().getPrimaryKeys(null, "public", "jdbc")));
            step(mode + "notifications", () -> {
                plain.execute("LISTEN jdbc");
                plain.execute("NOTIFY jdbc, 'word'");
                org.postgresql.PGNotification[] heard = connection.unwrap(PGConnection.class).getNotifications(2000);
                return heard[0].getName() + heard[0].getParameter() + (heard[0].getPID() == connection.unwrap(PGConnection.class).getBackendPID());
            });
            step(mode + "search_path", () -> {
                plain.execute("CREATE SCHEMA other; CREATE TABLE other.jdbc (elsewhere int)");
                List<Object> found = new ArrayList<>();
                try (PreparedStatement select = connection.prepareStatement("SELECT count(*) FROM jdbc")) {
                    for (int n = 0; n < 3; n++) found.add(rows(select.executeQuery()));
                    plain.execute("SET search_path TO other");
                    for (int n = 0; n < 3; n++) found.add(rows(select.executeQuery()));
                    plain.execute("RESET search_path");
                }
                return found;
            });
            step(mode + "warnings", () -> {
                try (Statement warning = connection.createStatement()) { warning.execute("DO $$ BEGIN RAISE WARNING 'careful'; END $$"); return warning.getWarnings().getMessage(); }
            });
        } finally {
            plain.execute("DROP TABLE jdbc");
            plain.execute("DROP SCHEMA IF EXISTS other CASCADE");
        }
    }
}
