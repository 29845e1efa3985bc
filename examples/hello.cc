/*
 * The same as hello.c for C++: what is opened closes itself. Run it in the folder of this file:
 *
 *   c++ -std=c++17 hello.cc $(pkg-config --cflags --libs polystore) -o hello && ./hello
 */
#include <polystore.h>

#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>

static void checked(poly_status status, const poly_error &err)
{
    if (status != POLY_OK)
        throw std::runtime_error(std::string(poly_status_name(status)) + ": " + err.message);
}

template <class T, void (*close)(T *)> struct closer {
    void operator()(T *it) const { close(it); }
};
using instance_ptr = std::unique_ptr<poly_instance, closer<poly_instance, poly_close>>;
using session_ptr = std::unique_ptr<poly_session, closer<poly_session, poly_session_close>>;

static void run()
{
    poly_error err;
    poly_options options{};
    options.config_text = "data: ./hello-data\n"
                          "domains:\n"
                          "  diary: {stream: diary, search: {fields: [text]}}\n";
    poly_instance *opened;
    checked(poly_open(&options, &opened, &err), err);
    instance_ptr instance(opened);

    poly_session_options who{};
    who.rights = POLY_RIGHTS_ALL;
    poly_session *begun;
    checked(poly_session_open(instance.get(), &who, &begun, &err), err);
    session_ptr session(begun);

    poly_event event{};
    event.type = "Said";
    event.data = poly_json("{\"text\": \"hello from another language\"}");
    poly_txn *txn;
    poly_commit commit;
    checked(poly_txn_begin(session.get(), nullptr, &txn, &err), err);
    checked(poly_append(txn, "diary-hello", POLY_ANY, &event, 1, &err), err);
    checked(poly_txn_commit(txn, &commit, &err), err);

    poly_search_query query{};
    query.query = "hello -farewell";
    poly_hits hits;
    checked(poly_session_after(session.get(), commit.token.text, POLY_WAIT, &err), err);
    checked(poly_search(session.get(), &query, &hits, &err), err);
    std::cout << "found " << hits.hits[0].domain.data << "/" << hits.hits[0].key.data << "\n";
}

int main()
{
    try {
        run();
    } catch (const std::exception &error) {
        std::cerr << "hello: " << error.what() << "\n";
        return 1;
    }
    return 0;
}
