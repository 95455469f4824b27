/* commands.h - every subcommand of `moongate`, in the order `moongate help` shows them.
 *
 * A row is the whole registration: name, function mg_cli_<fn>, arguments, one line of summary. A summary that is
 * empty keeps a command out of `moongate help`. Options are not listed here: each command declares its own table
 * (cli/cli.h), and `moongate help NAME` prints it. */
#ifndef MG_CLI_COMMANDS_H
#define MG_CLI_COMMANDS_H

/*    name        fn         arguments                            summary */
#define MG_COMMAND_LIST(X)                                                                                             \
    X("demo",    demo,      "[OPTIONS]",                         "start a gateway with simulated providers, and look round") \
    X("serve",   serve,     "[-c gateway.lua] [OPTIONS]",        "run the gateway")                                    \
    X("check",   check,     "[DIR]",                             "say what is wrong with the configuration")           \
    X("key",     key,       "create|list|update ID|rotate ID|revoke ID|disable ID|enable ID", "the keys of clients")    \
    X("project", switch,    "disable NAME|enable NAME",          "stop everything of a project, in all workers at once") \
    X("workflow", switch,   "disable NAME|enable NAME",          "stop one workflow")                                  \
    X("provider", provider, "list|show ADAPTER|test FILE [PAGE]|disable NAME|enable NAME", \
                                                                 "what is known of providers; leave one alone, so that workflows fall over") \
    X("plugin",  switch,    "disable NAME|enable NAME",          "go on without a plugin, or not at all if it fails closed") \
    X("disabled", disabled, "",                                  "list what is disabled by hand")                      \
    X("admin",   admin,     "create NAME|list|remove NAME",      "who may administer over TCP: tokens with a role")    \
    X("login",   login,     "[OPTIONS]",                         "sign in at the identity provider, and print a token for the admin API") \
    X("secret",  secret,    "set|rotate|list|remove [NAME]",     "keep the keys of providers, encrypted")              \
    X("vault",   vault,     "rewrap",                            "wrap the keys of the vault by a new master key")     \
    X("audit",   audit,     "[verify]",                          "say who did what, and whether the log is whole")     \
    X("logs",    logs,      "[FILTERS]",                         "show recent requests, or follow them")               \
    X("targets", targets,   "[reset TARGET]",                    "say how the targets are, or let one back in by hand") \
    X("limits",  limits,    "",                                  "say what is left of every limit, and what it refused") \
    X("trace",   trace,     "ID",                                "draw what happened to one request")                  \
    X("usage",   usage,     "[events|bill [SCRIPT]|reprice] [OPTIONS]", "say what was used and what it costs, by any dimension")  \
    X("exports", exports,   "",                                  "say where usage events are handed on to, and what waits") \
    X("responses", responses, "[erase PROJECT]",                 "say what projects keep for the Responses API, or erase it") \
    X("prices",  prices,    "[list [PROVIDER]|import FILE]",     "show the price catalogue, or take a new one")        \
    X("models",  models,    "[list [VENDOR]|show MODEL]",        "say what is known of models: windows, abilities, when they retire") \
    X("sim",     sim,       "[OPTIONS]",                         "run a simulated provider on its own")                \
    X("cert",    cert,      "[HOST] [--dir DIR]",                "make a certificate to try TLS with")                 \
    X("docs",    docs,      "[DIR]",                             "write the reference pages")                          \
    X("version", version,   "",                                  "print the version")

#endif
