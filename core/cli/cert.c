/* moongate cert: a certificate that vouches for itself, to try TLS with. */
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/place.h"
#include "io/tls.h"

int mg_cli_cert(int argc, char **argv)
{
    const char *dir = ".";
    const struct mg_option options[] = {
        {"--dir", NULL, "DIR", MG_OPTION_TEXT, &dir, "where cert.pem and key.pem are written (.)"},
    };
    char cert[1024], key[1024];
    struct mg_diag diag = {.line = 0};
    int end = mg_cli_parse(&argc, argv, options, MG_COUNT(options), 1);
    if (end != MG_CLI_GO)
        return end;
    const char *host = argc > 1 ? argv[1] : "localhost";
    snprintf(cert, sizeof(cert), "%s/cert.pem", dir);
    snprintf(key, sizeof(key), "%s/key.pem", dir);
    if (access(cert, F_OK) == 0 || access(key, F_OK) == 0)
        return mg_cli_complain(MG_EXIT_FAILED, "cert",
                               "%s or %s is there already, and nothing is overwritten", cert, key);
    if (mg_place_make_folders(cert, &diag) != MG_OK ||
        mg_tls_self_signed(host, cert, key, &diag) != MG_OK)
        return mg_cli_failed("cert", &diag);
    printf("%s\n%s\n", cert, key);
    fprintf(stderr,
            "for %s, valid for a year, signed by itself: clients have to be told to trust %s\n",
            host, cert);
    return MG_EXIT_OK;
}
