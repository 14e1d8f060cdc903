import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.iceberg.Schema;
import org.apache.iceberg.Table;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.io.FileIO;
import org.apache.iceberg.io.FileInfo;
import org.apache.iceberg.io.SupportsBulkOperations;
import org.apache.iceberg.io.SupportsPrefixOperations;
import org.apache.iceberg.rest.RESTCatalog;
import org.apache.iceberg.types.Types;

/**
 * Iceberg's own client without any key of the bucket. Arguments: the address of the REST catalog, its warehouse, a file of another table, and a token. Makes the table s.java, writes,
 * reads, lists and deletes files of it, and sees that it cannot read the other one.
 */
public class SigningCheck {
  public static void main(String[] arguments) throws Exception {
    try (RESTCatalog catalog = new RESTCatalog()) {
      catalog.initialize("ours", Map.of(
          "uri", arguments[0],
          "warehouse", arguments[1],
          "io-impl", "org.apache.iceberg.aws.s3.S3FileIO",
          "http-client.type", "urlconnection",
          "token", arguments[3],
          "token-refresh-enabled", "false",
          "header.X-Iceberg-Access-Delegation", "remote-signing"));
      Table table = catalog.createTable(TableIdentifier.of("s", "java"), new Schema(Types.NestedField.optional(1, "a", Types.IntegerType.get())));
      FileIO io = table.io();
      String folder = table.location() + "/data/";
      List<String> files = List.of(folder + "a=1/b c.txt", folder + "a=\u00fc/d+e.txt", folder + "plain.txt");
      for (String file : files) {
        try (OutputStream out = io.newOutputFile(file).create()) {
          out.write(file.getBytes(StandardCharsets.UTF_8));
        }
      }
      for (String file : files) {
        try (InputStream in = io.newInputFile(file).newStream()) {
          check(new String(in.readAllBytes(), StandardCharsets.UTF_8).equals(file), "what was written to " + file + " is read");
        }
      }
      check(list(io, folder).size() == 3, "what was written is listed");
      io.deleteFile(files.get(0));
      ((SupportsBulkOperations) io).deleteFiles(files.subList(1, 3));
      check(list(io, folder).isEmpty(), "what was deleted is gone");
      try (InputStream in = io.newInputFile(arguments[2]).newStream()) {
        in.read();
        check(false, "files of others cannot be read");
      } catch (Exception error) {
        StringBuilder said = new StringBuilder();
        for (Throwable cause = error; cause != null; cause = cause.getCause()) {
          said.append(cause).append('\n');
        }
        check(said.indexOf("not below the table's location") >= 0, "others are refused by the signer, not with " + said);
      }
    }
    System.out.println("ok");
  }

  private static List<String> list(FileIO io, String folder) {
    List<String> files = new ArrayList<>();
    for (FileInfo file : ((SupportsPrefixOperations) io).listPrefix(folder)) {
      files.add(file.location());
    }
    return files;
  }

  private static void check(boolean holds, String what) {
    if (!holds) {
      throw new IllegalStateException("not so: " + what);
    }
  }
}
